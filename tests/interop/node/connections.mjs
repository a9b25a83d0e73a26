// The task that the test hands over on standard input, and connections with the certificate of a party of it.
import { readFileSync } from 'node:fs';
import { Agent, fetch } from 'undici';

export const task = JSON.parse(readFileSync(0, 'utf8'));

const file = (name) => readFileSync(`${task.folder}/${name}`);

// A `fetch` that presents the party's certificate, or with null none.
export function fetchAs(party, options = {}) {
  const certificate = party && { cert: file(`${party}.pem`), key: file(`${party}-key.pem`) };
  const dispatcher = new Agent({ allowH2: false, ...options, connect: { ca: file('ca.pem'), ...certificate } });
  return (url, request) => fetch(url, { ...request, dispatcher });
}

export function report(findings) {
  process.stdout.write(JSON.stringify(findings), () => process.exit(0));
}
