// The entry point: finishes signing in and shows the view that the URL names.
//
// The view is named by the URL's fragment, so that every view has a link and the server serves a single page:
//   #/                                          all integrations
//   #/add                                       a new one
//   #/integrations/<id>                         one, with its log; filters follow as a query
//   #/integrations/<id>/edit
//   #/integrations/<id>/deliveries/<id>

import * as address from './address.js';
import { Loading } from './components.js';
import { keepFocus } from './focus.js';
import { html, render, useEffect, useErrorBoundary, useRef, useState } from './html.js';
import { forgetAll } from './polling.js';
import * as signIn from './sign_in.js';
import { Delivery } from './views/delivery.js';
import { Integration } from './views/integration.js';
import { IntegrationForm } from './views/integration_form.js';
import { Integrations } from './views/integrations.js';
import { Welcome } from './views/welcome.js';

// Anything else is not an id and is not sent to the API, for example `..`.
const INTEGRATION = /^int_\w+$/;
const DELIVERY = /^dlv_\w+$/;

function viewAt(hash) {
  const [path, query = ''] = hash.replace(/^#?\/?/, '').split('?');
  const parts = path.split('/').filter(Boolean);
  const [first, id, third, deliveryId] = parts;
  if (parts.length === 0) return html`<${Integrations} />`;
  if (path === 'add') return html`<${IntegrationForm} key="add" />`;
  if (first !== 'integrations' || !INTEGRATION.test(id)) return html`<${NotFound} />`;
  if (parts.length === 2) return html`<${Integration} key=${id} id=${id} query=${query} />`;
  if (parts.length === 3 && third === 'edit') return html`<${IntegrationForm} key=${id} id=${id} />`;
  if (parts.length === 4 && third === 'deliveries' && DELIVERY.test(deliveryId)) {
    return html`<${Delivery} key=${deliveryId} id=${id} deliveryId=${deliveryId} />`;
  }
  return html`<${NotFound} />`;
}

function NotFound() {
  return html`<h1>Page not found</h1>
    <p><a href="#/">Go to your integrations</a></p>`;
}

// A view, or an error page if rendering it fails. It is keyed by its path, so that another view starts afresh.
function View({ hash }) {
  const [failure] = useErrorBoundary();
  if (!failure) return viewAt(hash);
  return html`<h1>Something went wrong</h1>
    <div class="notice bad" role="alert">
      <p>This view could not be displayed. That is our mistake, and nothing was changed by it.</p>
      <button type="button" onClick=${() => location.reload()}>Reload</button>
    </div>
    <p><a href="#/">Go to your integrations</a></p>`;
}

function Progress({ children }) {
  return html`<section class="welcome"><h1>${children}</h1><${Loading} /></section>`;
}

function Page({ finishing }) {
  // `progress` is shown instead of a view while the user is signed in or out.
  const [{ progress, error }, put] = useState({ progress: finishing ? 'Signing you in…' : null, error: null });
  const [, draw] = useState(0);
  const main = useRef();
  const hash = address.current();
  const [path] = hash.split('?');
  useEffect(() => {
    finishing?.then(
      () => put({ progress: null, error: null }),
      (failure) => put({ progress: null, error: failure }),
    );
    signIn.onSignedOut((phase) => {
      forgetAll();
      put({
        progress: phase === 'leaving' ? 'Signing you out…' : null,
        error:
          phase === 'ended' ? new Error('Your session has ended. Sign in again to continue where you left off.') : null,
      });
    });
    return address.onChange(() => draw((count) => count + 1));
  }, []);
  useNavigation(main, path);
  const session = signIn.session();
  let view = html`<${Welcome} error=${error} />`;
  if (progress) view = html`<${Progress}>${progress}<//>`;
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

// A new view starts at the top, on the screen and for screen readers, unless it has moved the focus itself.
function useNavigation(main, path) {
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

// A page that the browser restores from its back/forward cache may show a session that has ended: load it anew.
window.addEventListener('pageshow', (event) => event.persisted && location.reload());

keepFocus();
const finishing = signIn.finish();
// The page shows the error once it is rendered; this prevents a warning until then.
finishing?.catch(() => {});
render(html`<${Page} finishing=${finishing} />`, document.body);
