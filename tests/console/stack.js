// The stack that the tests run against: its users and its alerts queue.

import { randomInt } from 'node:crypto';

import { AwsClient } from 'aws4fetch';

const { AWS_ENDPOINT_URL, ALERTS_QUEUE_URL, USER_POOL_ID } = process.env;

export const CONSOLE_URL = process.env.CONSOLE_URL;

// The same URL for this process, whose resolver may not know names below `localhost` as browsers do.
export function reachable(url) {
  const { hostname, pathname, search } = new URL(url);
  const [api, ...rest] = hostname.split('.');
  if (rest.join('.') !== 'execute-api.localhost') return url;
  return `${AWS_ENDPOINT_URL}/_aws/execute-api/${api}/$default${pathname}${search}`;
}

// Matches requests to the API, and not for files of the page with such a name.
export const toTheApi = (url) => url.pathname.startsWith('/integrations');

export const PASSWORD = 'Correct-Horse-9-Battery';

const aws = new AwsClient({
  accessKeyId: process.env.AWS_ACCESS_KEY_ID ?? 'test',
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY ?? 'test',
  region: process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION ?? 'us-east-1',
});

async function call(service, target, contentType, fields) {
  const response = await aws.fetch(AWS_ENDPOINT_URL, {
    method: 'POST',
    headers: { 'content-type': contentType, 'x-amz-target': target },
    body: JSON.stringify(fields),
    aws: { service },
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${target}: ${response.status} ${text}`);
  return JSON.parse(text || '{}');
}

// Creates a user with an organization of its own.
export async function newUser() {
  const organization = randomInt(1_000_000, 1_000_000_000);
  const email = `maria-${organization}@example.com`;
  const cognito = (action, fields) =>
    call('cognito-idp', `AWSCognitoIdentityProviderService.${action}`, 'application/x-amz-json-1.1', {
      UserPoolId: USER_POOL_ID,
      Username: email,
      ...fields,
    });
  await cognito('AdminCreateUser', {
    MessageAction: 'SUPPRESS',
    UserAttributes: [
      { Name: 'email', Value: email },
      { Name: 'email_verified', Value: 'true' },
      { Name: 'custom:organization_id', Value: String(organization) },
    ],
  });
  await cognito('AdminSetUserPassword', { Password: PASSWORD, Permanent: true });
  return { email, organization };
}

// Sends an alert event, after `change` has changed the sample. Returns the body that was sent.
export async function sendAlert(organization, change = () => {}) {
  const event = {
    event_type: 'alert.triggered',
    timestamp: new Date().toISOString(),
    alert: { id: randomInt(1, 1_000_000), name: 'Device Offline', severity: 'critical', status: 'active' },
    device: { id: 789, name: 'warehouse-robot-01' },
    project: { id: 10, name: 'Warehouse Operations' },
    organization: { id: organization, name: 'Acme Corp' },
  };
  change(event);
  const body = typeof event.text === 'string' ? event.text : JSON.stringify(event);
  await call('sqs', 'AmazonSQS.SendMessage', 'application/x-amz-json-1.0', {
    QueueUrl: ALERTS_QUEUE_URL,
    MessageBody: body,
    MessageGroupId: String(organization),
  });
  return body;
}
