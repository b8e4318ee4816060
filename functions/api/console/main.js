// Where the page starts: signing in, the address, and which view it shows.
//
// The address after `#` names the view, so that every view can be linked to and the server has one page to serve:
//   #/                                          all integrations
//   #/add                                       a new one
//   #/integrations/<id>                         one, with its log; filters follow as a query
//   #/integrations/<id>/edit
//   #/integrations/<id>/deliveries/<id>

import * as address from './address.js';
import { keepFocus } from './focus.js';
import { html, render, useEffect, useErrorBoundary, useRef, useState } from './html.js';
import { Loading } from './parts.js';
import * as signIn from './sign_in.js';
import { Delivery } from './views/delivery.js';
import { Integration } from './views/integration.js';
import { IntegrationForm } from './views/integration_form.js';
import { Integrations } from './views/integrations.js';
import { Welcome } from './views/welcome.js';
import { forgetAll } from './watch.js';

// Nothing else is an id: what was made up, `..` for one, is not asked for.
const INTEGRATION = /^int_\w+$/;
const DELIVERY = /^dlv_\w+$/;

function viewAt(hash) {
  const [path, query = ''] = hash.replace(/^#?\/?/, '').split('?');
  const parts = path.split('/').filter(Boolean);
  const [first, id, third, deliveryId] = parts;
  if (parts.length === 0) return html`<${Integrations} />`;
  if (path === 'add') return html`<${IntegrationForm} key="add" />`;
  if (first !== 'integrations' || !INTEGRATION.test(id)) return html`<${Nowhere} />`;
  if (parts.length === 2) return html`<${Integration} key=${id} id=${id} query=${query} />`;
  if (parts.length === 3 && third === 'edit') return html`<${IntegrationForm} key=${id} id=${id} />`;
  if (parts.length === 4 && third === 'deliveries' && DELIVERY.test(deliveryId)) {
    return html`<${Delivery} key=${deliveryId} id=${id} deliveryId=${deliveryId} />`;
  }
  return html`<${Nowhere} />`;
}

function Nowhere() {
  return html`<h1>There is nothing here</h1>
    <p><a href="#/">Go to your integrations</a></p>`;
}

// A view, or what is said when it breaks. Keyed by its address: another one starts afresh.
function View({ hash }) {
  const [broken] = useErrorBoundary();
  if (!broken) return viewAt(hash);
  return html`<h1>This view is broken</h1>
    <div class="notice bad" role="alert">
      <p>That is our mistake. Nothing was changed by it.</p>
      <button type="button" onClick=${() => location.reload()}>Load it again</button>
    </div>
    <p><a href="#/">Go to your integrations</a></p>`;
}

function Busy({ children }) {
  return html`<section class="welcome"><h1>${children}</h1><${Loading} /></section>`;
}

function Page({ finishing }) {
  // `doing` is what the page is at before there is a view: signing in or out.
  const [{ doing, trouble }, put] = useState({ doing: finishing ? 'Signing you in…' : null, trouble: null });
  const [, draw] = useState(0);
  const main = useRef();
  const hash = address.current();
  const [path] = hash.split('?');
  useEffect(() => {
    finishing?.then(
      () => put({ doing: null, trouble: null }),
      (error) => put({ doing: null, trouble: error }),
    );
    signIn.onChange((how) => {
      forgetAll();
      put({
        doing: how === 'leaving' ? 'Signing you out…' : null,
        trouble: how === 'ended' ? new Error('Your session has ended: sign in again to go on where you were.') : null,
      });
    });
    return address.onTurn(() => draw((count) => count + 1));
  }, []);
  useTurnedPage(main, path);
  const session = signIn.session();
  let view = html`<${Welcome} trouble=${trouble} />`;
  if (doing) view = html`<${Busy}>${doing}<//>`;
  else if (session) view = html`<${View} key=${path} hash=${hash} />`;
  return html`
    <a class="skip" href="#main" onClick=${(event) => skipTo(event, main.current)}>Skip to content</a>
    <header class="top">
      <a class="brand" href="#/"><span class="logo" aria-hidden="true"></span>Roboticks</a>
      ${
        session &&
        html`<div class="who">
          <bdi>${session.name}</bdi>
          <button type="button" class="small" onClick=${() => signIn.signOut()}>Sign out</button>
        </div>`
      }
    </header>
    <main id="main" ref=${main} tabindex="-1">${view}</main>
  `;
}

// A new view is read from its start, by eye and by screen reader, unless it has a better place to begin.
function useTurnedPage(main, path) {
  const before = useRef(path);
  useEffect(() => {
    if (before.current === path) return;
    before.current = path;
    window.scrollTo(0, 0);
    if (!main.current.contains(document.activeElement)) main.current.focus({ preventScroll: true });
  }, [path]);
}

function skipTo(event, element) {
  event.preventDefault();
  element.focus();
}

// A page that the browser kept and brings back shows what was: signed in, or on its way to sign in.
window.addEventListener('pageshow', (event) => event.persisted && location.reload());

keepFocus();
const finishing = signIn.finish();
// Whatever goes wrong is shown once the page is there to show it.
finishing?.catch(() => {});
render(html`<${Page} finishing=${finishing} />`, document.body);
