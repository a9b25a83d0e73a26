// An authorization server of others: node-oidc-provider with mutual TLS. Its task: `folder` with PEM files, `resources`
// with the algorithm that signs the tokens of each (null for opaque ones), and `own`, the JWK of a self-signed client.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

const task = JSON.parse(process.env.TASK);
const file = (name) => readFileSync(`${task.folder}/${name}`);
const algorithms = ['ES256', 'PS256', 'EdDSA'];

async function signingKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: alg };
}

function client(id, members) {
  return {
    client_id: id, scope: 'reports:read', redirect_uris: [], response_types: [], grant_types: ['client_credentials'],
    id_token_signed_response_alg: 'ES256', tls_client_certificate_bound_access_tokens: true, ...members,
  };
}

const byName = (id) => client(id, {
  token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_dns: `${id}.example`,
});
const byKey = client('own', { token_endpoint_auth_method: 'self_signed_tls_client_auth', jwks: { keys: [task.own] } });

const peer = (ctx) => ctx.socket.getPeerX509Certificate();
const server = createServer({
  ca: file('ca.pem'), cert: file('server.pem'), key: file('server-key.pem'), requestCert: true, rejectUnauthorized: false,
});

server.listen(0, '127.0.0.1', async () => {
  const issuer = `https://localhost:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [byName('c1'), byName('rs'), byKey],
    clientAuthMethods: ['tls_client_auth', 'self_signed_tls_client_auth'],
    enabledJWA: { idTokenSigningAlgValues: algorithms },
    jwks: { keys: await Promise.all(algorithms.map(signingKey)) },
    scopes: ['reports:read'],
    ttl: { ClientCredentials: 300 },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: (ctx, caller) => caller.clientId === 'rs' },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        selfSignedTlsClientAuth: true,
        tlsClientAuth: true,
        getCertificate: peer,
        certificateAuthorized: (ctx) => ctx.socket.authorized,
        certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_san_dns'
          && peer(ctx).subjectAltName.split(', ').includes(`DNS:${expected}`),
      },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (ctx, resource) => {
          const alg = task.resources[resource];
          const format = alg ? { accessTokenFormat: 'jwt', jwt: { sign: { alg } } } : { accessTokenFormat: 'opaque' };
          return { scope: 'reports:read', audience: resource, accessTokenTTL: 300, ...format };
        },
      },
    },
  });
  server.on('request', provider.callback());
  console.log(`listening on ${issuer}`);
});
