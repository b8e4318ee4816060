// What is shown to somebody who is not signed in.

import { html, useEffect } from '../html.js';
import { Action, Trouble } from '../parts.js';
import * as signIn from '../sign_in.js';
import { useTask } from '../task.js';

export function Welcome({ trouble }) {
  useEffect(() => {
    document.title = 'Sign in · Roboticks';
  }, []);
  const signingIn = useTask(async () => {
    await signIn.begin();
    // The browser is on its way: nothing else is to be pressed meanwhile.
    await new Promise(() => {});
  });
  // What went wrong before is over once signing in is tried again.
  const error = signingIn.error ?? (signingIn.busy ? null : trouble);
  return html`<section class="welcome">
    <h1>Your alerts, on your own servers</h1>
    <p>
      Custom webhooks send every alert of your organization to an HTTP endpoint of yours: signed, retried when it fails,
      and with a log that says what happened to each.
    </p>
    <${Trouble} error=${error} />
    <${Action} class="primary" busy=${signingIn.busy} busyLabel="Opening the sign-in page…" onClick=${signingIn.run}>
      Sign in
    <//>
  </section>`;
}
