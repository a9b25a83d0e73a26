// The peer of the benchmark: node-oidc-provider, which issues certificate-bound ES256 access tokens over mutual TLS.
// CERTS names the folder of the certificates, PORT the port. Tokens for https://opaque.example can be introspected,
// since the provider keeps no JWTs.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

const { CERTS: certs, PORT: port } = process.env;
const { privateKey } = await generateKeyPair('ES256', { extractable: true });
const signingKey = { ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: 'k1' };
const scope = 'reports:read';

const provider = new Provider(`https://localhost:${port}`, {
  jwks: { keys: [signingKey] },
  enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
  scopes: [scope],
  clientAuthMethods: ['tls_client_auth', 'none'],
  clients: [{
    client_id: 'reports', redirect_uris: [], response_types: [], grant_types: ['client_credentials'], scope,
    token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_dns: 'reports.example',
    tls_client_certificate_bound_access_tokens: true, id_token_signed_response_alg: 'ES256',
  }],
  ttl: { ClientCredentials: 300 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    mTLS: {
      enabled: true, certificateBoundAccessTokens: true, tlsClientAuth: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_san_dns'
        && ctx.socket.getPeerX509Certificate().subjectAltName.split(', ').includes(`DNS:${expected}`),
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'https://localhost:8445',
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => ({
        scope, accessTokenTTL: 300, accessTokenFormat: resource === 'https://opaque.example' ? 'opaque' : 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});

createServer({
  cert: readFileSync(`${certs}/server.pem`), key: readFileSync(`${certs}/server-key.pem`),
  ca: readFileSync(`${certs}/ca.pem`),
  requestCert: true, rejectUnauthorized: false,
}, provider.callback()).listen(Number(port), '127.0.0.1');
