// Prints what the cookie parsers of Node's servers find under app_session, as JSON.
const lines = JSON.parse(require('fs').readFileSync(process.argv[2], 'utf8'));
const own = (o) => (o && Object.hasOwn(o, 'app_session') ? [].concat(o.app_session) : []);
const old = require('cookie07');
const now = require('cookie1');
const { Definitions } = require('@hapi/statehood');
const hapi = new Definitions({ ignoreErrors: true, strictHeader: false });

(async () => {
  const found = { 'cookie 0.7 (Express)': [], 'cookie 1': [], 'hapi': [] };
  for (const line of lines) {
    found['cookie 0.7 (Express)'].push(own(old.parse(line)));
    found['cookie 1'].push(own((now.parseCookie || now.parse)(line)));
    let states = {};
    try { states = (await hapi.parse(line)).states; } catch { /* it refuses the request */ }
    found.hapi.push(own(states));
  }
  process.stdout.write(JSON.stringify(found));
})();
