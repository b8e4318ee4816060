// Where the page starts: signing in, the address, and which view it shows.
//
// The address after `#` names the view, so that every view can be linked to and the server has one page to serve:
//   #/                                          all integrations
//   #/add                                       a new one
//   #/integrations/<id>                         one, with its log; filters follow as a query
//   #/integrations/<id>/edit
//   #/integrations/<id>/deliveries/<id>

import { html, render, useEffect, useRef, useState } from './html.js';
import * as signIn from './sign_in.js';
import { Delivery } from './views/delivery.js';
import { Integration } from './views/integration.js';
import { IntegrationForm } from './views/integration_form.js';
import { Integrations } from './views/integrations.js';
import { Welcome } from './views/welcome.js';
import { forget } from './watch.js';

function viewAt(hash) {
  const [path, query = ''] = hash.replace(/^#?\/?/, '').split('?');
  const parts = path.split('/').filter(Boolean);
  const [first, id, third, deliveryId] = parts;
  if (parts.length === 0) return html`<${Integrations} />`;
  if (path === 'add') return html`<${IntegrationForm} key="add" />`;
  if (first !== 'integrations' || parts.length < 2) return html`<${Nowhere} />`;
  if (parts.length === 2) return html`<${Integration} key=${id} id=${id} query=${query} />`;
  if (parts.length === 3 && third === 'edit') return html`<${IntegrationForm} key=${id} id=${id} />`;
  if (parts.length === 4 && third === 'deliveries') {
    return html`<${Delivery} key=${deliveryId} id=${id} deliveryId=${deliveryId} />`;
  }
  return html`<${Nowhere} />`;
}

function Nowhere() {
  return html`<h1>There is nothing here</h1>
    <p><a href="#/">Go to your integrations</a></p>`;
}

function Page({ trouble: first }) {
  const [, draw] = useState(0);
  const [trouble, setTrouble] = useState(first);
  const main = useRef();
  const path = location.hash.split('?')[0];
  useEffect(() => {
    const redraw = () => draw((count) => count + 1);
    window.addEventListener('hashchange', redraw);
    signIn.onChange((how) => {
      forget();
      setTrouble(how === 'ended' ? new Error('Your session has ended: sign in again to go on where you were.') : null);
      redraw();
    });
    return () => window.removeEventListener('hashchange', redraw);
  }, []);
  useTurnedPage(main, path);
  const session = signIn.session();
  return html`
    <a class="skip" href="#main" onClick=${(event) => skipTo(event, main.current)}>Skip to content</a>
    <header class="top">
      <a class="brand" href="#/"><span class="logo" aria-hidden="true"></span>Roboticks</a>
      ${session &&
      html`<div class="who">
          <bdi>${session.name}</bdi>
          <button type="button" class="small" onClick=${() => signIn.signOut()}>Sign out</button>
        </div>`}
    </header>
    <main id="main" ref=${main} tabindex="-1">
      ${session ? viewAt(location.hash) : html`<${Welcome} trouble=${trouble} />`}
    </main>
  `;
}

// A new view is read from its start, by eye and by screen reader.
function useTurnedPage(main, path) {
  const before = useRef(path);
  useEffect(() => {
    if (before.current === path) return;
    before.current = path;
    window.scrollTo(0, 0);
    main.current.focus({ preventScroll: true });
  }, [path]);
}

function skipTo(event, element) {
  event.preventDefault();
  element.focus();
}

let trouble = null;
try {
  await signIn.finish();
} catch (error) {
  trouble = error;
}
render(html`<${Page} trouble=${trouble} />`, document.body);
