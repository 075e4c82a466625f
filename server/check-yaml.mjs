/**
 * node server/check-yaml.mjs PARSER FILE...: compose.yaml and the workflows can be parsed, and the manifests for Kubernetes
 * on docs/production.md agree with each other. PARSER is the folder of the package `yaml`. Prints `ok NAME` or
 * `FAILED NAME: REASON` for each check.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [parser, ...files] = process.argv.slice(2);
const { parseAllDocuments } = createRequire(import.meta.url)(parser);

function parsed(name, text) {
  return parseAllDocuments(text).map((document) => {
    for (const problem of [...document.errors, ...document.warnings]) throw new Error(`${name}: ${problem.message}`);
    return document.toJS();
  });
}

/** The Service selects the pods of the Deployment, and all ports are that of the container. */
function agree() {
  const page = readFileSync('docs/production.md', 'utf8');
  const blocks = [...page.matchAll(/\n```yaml\n(.*?)\n```/gs)];
  assert.equal(blocks.length, 1, 'docs/production.md has not one block of YAML');
  const manifests = parsed('docs/production.md', blocks[0][1]);
  const of = (kind) => manifests.find((manifest) => manifest.kind === kind) ?? assert.fail(`there is no ${kind}`);
  const { selector, template } = of('Deployment').spec;
  const service = of('Service').spec;
  const map = of('ConfigMap');
  assert.ok(template.metadata.labels, 'the pods have no labels');
  assert.deepEqual(selector.matchLabels, template.metadata.labels, "the Deployment's selector");
  assert.deepEqual(service.selector, template.metadata.labels, "the Service's selector");
  const [container] = template.spec.containers;
  const port = container.ports[0].containerPort;
  assert.equal(port, 7878, "the container's port");
  assert.equal(service.ports[0].targetPort, port, "the Service's port");
  assert.equal(container.readinessProbe.httpGet.path, '/readyz', 'the readiness probe');
  assert.equal(container.readinessProbe.httpGet.port, port, "the readiness probe's port");
  for (const probe of ['startupProbe', 'livenessProbe']) assert.equal(container[probe].tcpSocket.port, port, probe);
  assert.equal(map.metadata.name, template.spec.volumes[0].configMap.name, 'the mounted ConfigMap');
  assert.equal(typeof map.data['rejoin.toml'], 'string', 'the ConfigMap has no rejoin.toml');
}

function check(name, run) {
  try {
    run();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`FAILED ${name}: ${error.message.replaceAll('\n', ' ')}`);
  }
}

check('compose.yaml and the workflows are YAML', () => files.forEach((file) => parsed(file, readFileSync(file, 'utf8'))));
check('the manifests for Kubernetes agree', agree);
