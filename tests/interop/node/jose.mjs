// Judges a token as a resource server with jose would; the certificate's thumbprint is computed by Node.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createLocalJWKSet, createRemoteJWKSet, customFetch, jwtVerify } from 'jose';
import { fetchAs, report, task } from './connections.mjs';

const keys = createRemoteJWKSet(new URL(`${task.issuer}/jwks`), { [customFetch]: fetchAs(null) });
const algorithms = [task.algorithm];
const expected = { issuer: task.issuer, audience: task.audience, typ: 'at+jwt', algorithms };

const { payload, protectedHeader } = await jwtVerify(task.token, keys, {
  ...expected, requiredClaims: ['client_id', 'exp', 'iat', 'jti', 'sub'],
});

const refused = (verdict) => verdict.then(() => null, (error) => error.code);
const [head, body, signature] = task.token.split('.');
const altered = Buffer.from(signature, 'base64url');
altered[altered.length - 1] ^= 1;

const certificate = new X509Certificate(readFileSync(task.certificate));
const thumbprint = Buffer.from(certificate.fingerprint256.replaceAll(':', ''), 'hex').toString('base64url');

report({
  header: protectedHeader,
  payload,
  thumbprint,
  refused: {
    altered: await refused(jwtVerify(`${head}.${body}.${altered.toString('base64url')}`, keys, expected)),
    elsewhere: await refused(jwtVerify(task.token, keys, { ...expected, audience: 'https://other.example' })),
    without_keys: await refused(jwtVerify(task.token, createLocalJWKSet({ keys: [] }), expected)),
  },
});
