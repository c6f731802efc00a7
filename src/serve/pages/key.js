// The service's key, where it has one: asked for in the page, and kept by this tab alone.
const KEY = 'oxembed-key';
const byId = (id) => document.getElementById(id);

function headers() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function askForKey(then) {
  const form = byId('key');
  const wrong = sessionStorage.getItem(KEY) !== null;
  byId('key-why').textContent = wrong ? 'The service does not know this key.' : 'This service needs a key.';
  byId('key-why').className = wrong ? 'bad' : '';
  form.hidden = false;
  form.onsubmit = (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, byId('key-text').value.trim());
    byId('key-text').value = '';
    form.hidden = true;
    then();
  };
  byId('key-text').focus();
}

function element(name, content, properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...[content].flat().filter((part) => part !== null && part !== undefined));
  return made;
}
