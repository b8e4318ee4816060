// The page for users who are not signed in.

import { Action, ErrorNotice } from '../components.js';
import { html, useEffect } from '../html.js';
import * as signIn from '../sign_in.js';
import { useTask } from '../use_task.js';

export function Welcome({ error: earlier }) {
  useEffect(() => {
    document.title = 'Sign in · Roboticks';
  }, []);
  const signingIn = useTask(async () => {
    await signIn.begin();
    // The browser is leaving the page: the button stays busy until it has.
    await new Promise(() => {});
  });
  // An earlier error is hidden when signing in is tried again.
  const error = signingIn.error ?? (signingIn.busy ? null : earlier);
  return html`<section class="welcome">
    <h1>Your alerts, on your own servers</h1>
    <p>
      Custom webhooks send every alert of your organization to an HTTP endpoint of yours: signed, retried when it fails,
      and with a log that shows what happened to each.
    </p>
    <${ErrorNotice} error=${error} />
    <${Action} class="primary" busy=${signingIn.busy} busyLabel="Opening the sign-in page…" onClick=${signingIn.run}>
      Sign in
    <//>
  </section>`;
}
