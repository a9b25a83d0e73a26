// A client of one party's name: discovery, a token, its use, introspection and revocation, all by oauth4webapi.
import * as oauth from 'oauth4webapi';
import { fetchAs, report, task } from './connections.mjs';

const as = (party) => ({ [oauth.customFetch]: fetchAs(party, { allowH2: task.http2 }) });
const issuer = new URL(task.issuer);
const discovered = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...as(null) });
const server = await oauth.processDiscoveryResponse(issuer, discovered);
const client = { client_id: task.party, use_mtls_endpoint_aliases: true };
const DPoP = task.dpop ? oauth.DPoP(client, await oauth.generateKeyPair(task.dpop)) : undefined;

async function fetchToken(settings, party) {
  const parameters = { scope: 'reports:read', resource: task.resource };
  const options = { ...as(party), DPoP };
  const response = await oauth.clientCredentialsGrantRequest(server, settings, oauth.TlsClientAuth(), parameters, options);
  return oauth.processClientCredentialsResponse(server, settings, response);
}

const refused = (promise) => promise.then(() => null, (error) => error.error ?? error.code);

async function use(token, party) {
  const url = new URL(`${task.resource}/reports`);
  try {
    const response = await oauth.protectedResourceRequest(token, 'GET', url, undefined, undefined, { ...as(party), DPoP });
    return { status: response.status, body: await response.json() };
  } catch (error) { // a challenge, RFC 9110 §11.6.1
    return { status: error.status, challenges: error.cause };
  }
}

async function introspect(token, members = {}) {
  const caller = { client_id: 'rs', use_mtls_endpoint_aliases: true, ...members };
  const response = await oauth.introspectionRequest(server, caller, oauth.TlsClientAuth(), token, as('rs'));
  const said = await oauth.processIntrospectionResponse(server, caller, response);
  const signed = 'introspection_signed_response_alg' in members;
  if (signed) await oauth.validateApplicationLevelSignature(server, response, as(null));
  return said;
}

const answer = await fetchToken(client, task.party);
const token = answer.access_token;
const findings = {
  server,
  answer,
  uses: { right: await use(token, task.party), other: await use(token, 'thief'), none: await use(token, null) },
  without_certificate: await refused(fetchToken(client, null)),
  with_another: await refused(fetchToken(client, 'thief')),
  without_aliases: await refused(fetchToken({ client_id: task.party }, task.party)),
  introspected: await introspect(token),
  introspected_signed: await introspect(token, { introspection_signed_response_alg: 'ES256' }),
};
const revoked = await oauth.revocationRequest(server, client, oauth.TlsClientAuth(), token, as(task.party));
await oauth.processRevocationResponse(revoked);
report({ ...findings, introspected_after_revocation: await introspect(token) });
