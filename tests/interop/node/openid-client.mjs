// A client by openid-client, which finds everything by the issuer's name.
import * as client from 'openid-client';
import { fetchAs, report, task } from './connections.mjs';

const authentication = client.TlsClientAuth();
const configure = (party) => client.discovery(
  new URL(task.issuer), party, { use_mtls_endpoint_aliases: true }, authentication,
  { algorithm: 'oauth2', [client.customFetch]: fetchAs(party) },
);

const mine = await configure(task.party);
const answer = await client.clientCredentialsGrant(mine, { scope: 'reports:read', resource: task.resource });
const use = (configuration) => client
  .fetchProtectedResource(configuration, answer.access_token, new URL(`${task.resource}/reports`), 'GET')
  .then(async (response) => ({ status: response.status, body: await response.json() }), (error) => ({ status: error.status }));

const uses = { right: await use(mine), other: await use(await configure('thief')) };
const judge = await configure('rs');
const before = await client.tokenIntrospection(judge, answer.access_token);
await client.tokenRevocation(mine, answer.access_token);
report({ answer, uses, before, after: await client.tokenIntrospection(judge, answer.access_token) });
