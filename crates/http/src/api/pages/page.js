// Does what a link in a mail is for, when whoever opened it presses the button, and not before: programs that
// look through mail open links, too. The secret is in the fragment, which browsers send to nobody; it is taken
// out of the address at once, and goes to this server only.
'use strict';

const WORDS = {
  en: {
    verify: ['Confirm your address', 'Press the button to confirm that this address is yours.', 'Confirm', 'Your address is confirmed. You can close this page.'],
    reset: ['Choose a new password', 'Other devices will have to sign in again.', 'Set password', 'Your new password is set. You can close this page and sign in with it.'],
    link: ['Sign in', 'Press the button to sign in with this browser.', 'Sign in', 'You are signed in with this browser.'],
    invitation: ['You are invited', 'Press a button to accept the invitation or to decline it.', 'Accept', 'You have accepted the invitation.'],
    forgotten: ['Have you forgotten your password?', 'Give the address of your account. A mail with a link to choose a new password goes there.', 'Send mail', 'If there is an account with this address, the mail is on its way.'],
    address: 'Address', into: 'You are invited to', team: 'team',
    password: 'New password (at least 8 characters)', decline: 'Decline', declined: 'You have declined the invitation.',
    missing: 'The link is incomplete. Copy all of it from the mail.',
    used: 'The link was used already or is too old. Ask for a new one.',
    second: 'Your account wants a second step to sign in. Sign in where you usually do.',
    sign_in: 'Sign in first, in this browser, and then open the link once more.',
    often: 'That was tried too often. Wait a while and try again.',
    failed: 'That did not work:', offline: 'The server could not be reached. Try again.',
  },
  de: {
    verify: ['Bestätige deine Adresse', 'Drücke den Knopf, um zu bestätigen, dass diese Adresse deine ist.', 'Bestätigen', 'Deine Adresse ist bestätigt. Du kannst diese Seite schließen.'],
    reset: ['Wähle ein neues Passwort', 'Andere Geräte müssen sich danach neu anmelden.', 'Passwort setzen', 'Dein neues Passwort gilt. Du kannst diese Seite schließen und dich damit anmelden.'],
    link: ['Melde dich an', 'Drücke den Knopf, um dich mit diesem Browser anzumelden.', 'Anmelden', 'Du bist mit diesem Browser angemeldet.'],
    invitation: ['Du bist eingeladen', 'Drücke einen Knopf, um die Einladung anzunehmen oder abzulehnen.', 'Annehmen', 'Du hast die Einladung angenommen.'],
    forgotten: ['Hast du dein Passwort vergessen?', 'Nenne die Adresse deines Kontos. Dorthin geht eine Nachricht mit einem Link, um ein neues Passwort zu wählen.', 'Nachricht senden', 'Wenn es mit dieser Adresse ein Konto gibt, ist die Nachricht unterwegs.'],
    address: 'Adresse', into: 'Du bist eingeladen zu', team: 'Team',
    password: 'Neues Passwort (mindestens 8 Zeichen)', decline: 'Ablehnen', declined: 'Du hast die Einladung abgelehnt.',
    missing: 'Der Link ist nicht vollständig. Kopiere ihn ganz aus der Nachricht.',
    used: 'Der Link wurde schon benutzt oder ist zu alt. Fordere einen neuen an.',
    second: 'Dein Konto verlangt einen zweiten Schritt. Melde dich dort an, wo du es sonst tust.',
    sign_in: 'Melde dich erst in diesem Browser an und öffne den Link dann noch einmal.',
    often: 'Das wurde zu oft versucht. Warte eine Weile und versuche es noch einmal.',
    failed: 'Das ging nicht:', offline: 'Der Server war nicht zu erreichen. Versuche es noch einmal.',
  },
};
// Where each page sends the secret, from the page's own address on, so that a path in front does not matter.
const ROUTES = {
  verify: '../verifyEmail', reset: '../reset', link: '../link/finish',
  invitation: '../../_invitations/accept', decline: '../../_invitations/decline', look: '../../_invitations/look',
  forgotten: '../recover',
};

const by = (id) => document.getElementById(id);
const language = navigator.languages.map((tag) => tag.split('-')[0]).find((tag) => tag in WORDS) ?? 'en';
const words = WORDS[language];
const told = new URLSearchParams(location.hash.slice(1));
const secret = told.get('token') ?? '';
const app = told.get('app') ?? '';
// Who already has an account and signs up again is led to the page for a new password without a secret.
const named = location.pathname.split('/').pop();
const page = named === 'reset' && secret === '' ? 'forgotten' : named;
history.replaceState(null, '', location.pathname);

function tell(text, kind) {
  by('outcome').textContent = text;
  by('outcome').className = kind;
}

function busy(yes) {
  for (const button of document.querySelectorAll('button')) button.disabled = yes;
}

/** What the server answers to a POST; a cookie that is there counts only with its token. */
async function post(route, body) {
  const headers = { 'content-type': 'application/json' };
  const asked = await fetch('../csrf', { credentials: 'same-origin' }).catch(() => null);
  const csrf = asked?.ok ? await asked.json().catch(() => null) : null;
  if (csrf?.csrf) headers['x-csrf-token'] = csrf.csrf;
  const answer = await fetch(route, { method: 'POST', credentials: 'same-origin', headers, body: JSON.stringify(body) });
  return { status: answer.status, json: await answer.json().catch(() => ({})) };
}

function explain({ status, json }) {
  if (status === 401) return page === 'invitation' ? words.sign_in : words.used;
  if (status === 404 || status === 410) return words.used;
  if (status === 429) return words.often;
  return `${words.failed} ${json.reason ?? status}`;
}

async function act(name, body, done) {
  busy(true);
  tell('', '');
  try {
    const answer = await post(ROUTES[name], body);
    if (answer.status >= 300) { tell(explain(answer), 'bad'); busy(false); return; }
    by('form').hidden = true;
    by('about').hidden = true;
    if (answer.json.continuation) tell(words.second, 'bad'); else tell(done, 'good');
  } catch {
    tell(words.offline, 'bad');
    busy(false);
  }
}

/** Shows a field and wants it filled in. */
function ask(field, label) {
  by(`${field}-field`).hidden = false;
  by(`${field}-label`).textContent = label;
  by(field).required = true;
}

/** Says to what the invitation is; without that, it can be answered all the same. */
async function look() {
  const { status, json } = await post(ROUTES.look, { token: secret }).catch(() => ({ status: 0 }));
  if (status !== 200 || typeof json.organisation_name !== 'string') return;
  const team = json.team_name ? `, ${words.team} ${json.team_name}` : '';
  by('title').textContent = `${words.into} ${json.organisation_name}${team}`;
}

function begin() {
  const [title, about, label, done] = words[page];
  document.documentElement.lang = language;
  document.title = title;
  by('title').textContent = title;
  by('about').textContent = about;
  by('do').textContent = label;
  const whole = /^[A-Za-z0-9._~-]{8,256}$/.test(secret);
  if (!whole && page !== 'forgotten') { tell(words.missing, 'bad'); return; }
  by('form').hidden = false;
  if (page === 'reset') ask('password', words.password);
  if (page === 'forgotten') ask('address', words.address);
  if (page === 'invitation') {
    by('decline').hidden = false;
    by('decline').textContent = words.decline;
    by('decline').addEventListener('click', () => act('decline', { token: secret }, words.declined));
    look();
  }
  by('form').addEventListener('submit', (event) => {
    event.preventDefault();
    const body = page === 'forgotten' ? { email: by('address').value } : { token: secret };
    if (page === 'forgotten' && app) body.app = app;
    if (page === 'reset') body.password = by('password').value;
    if (page === 'link') body.face = 'cookie';
    act(page, body, done);
  });
}
begin();
