// What a page of somebody else can make a browser send to `base`: each way that needs no consent of the server.
// Resolves to {way: "read" | "sent" | "refused"}: whether the page could see an answer, or only send.
async ({base, path, body, socket, subprotocol, say}) => {
  const told = {};
  const asked = async (way, ask) => {
    try {
      told[way] = await ask();
    } catch {
      told[way] = 'refused';
    }
  };
  const target = base + path;
  const query = '?' + new URLSearchParams(body).toString();
  const text = JSON.stringify(body);
  const fetched = (address, options) => async () => {
    const answer = await fetch(address, options);
    return answer.type === 'opaque' ? 'sent' : answer.ok ? 'read' : 'refused';
  };
  await asked('get', fetched(target + query, {mode: 'no-cors'}));
  await asked('get cors', fetched(target + query, {}));
  await asked('post text', fetched(target, {method: 'POST', mode: 'no-cors', body: text}));
  await asked('post text as json', fetched(target,
    {method: 'POST', mode: 'no-cors', body: text, headers: {'Content-Type': 'text/plain; x=application/json'}}));
  await asked('post form', fetched(target + query, {method: 'POST', mode: 'no-cors', body: new URLSearchParams(body)}));
  await asked('post json', fetched(target,
    {method: 'POST', body: text, headers: {'Content-Type': 'application/json'}}));
  await asked('delete', fetched(target, {method: 'DELETE'}));
  await asked('beacon', async () => (navigator.sendBeacon(target + query, text) ? 'sent' : 'refused'));
  const loaded = (make) => () =>
    new Promise((resolve) => {
      const element = make();
      element.onload = () => resolve('read');
      element.onerror = () => resolve('refused');
      document.body.append(element);
      setTimeout(() => resolve('refused'), 3000);
    });
  await asked('image', loaded(() => Object.assign(new Image(), {src: target + query})));
  await asked('script', loaded(() => Object.assign(document.createElement('script'), {src: target + query})));
  await asked('socket', () =>
    new Promise((resolve) => {
      const opened = new WebSocket(socket, subprotocol);
      opened.onopen = () => {
        for (const line of say) opened.send(line);
        setTimeout(() => resolve('read'), 500);
      };
      opened.onerror = () => resolve('refused');
    }));
  for (const [name, encoding] of [['form', 'application/x-www-form-urlencoded'], ['form text', 'text/plain'],
    ['form file', 'multipart/form-data']]) {
    await asked(name, async () => {
      const frame = Object.assign(document.createElement('iframe'), {name: 'into ' + name});
      document.body.append(frame);
      const form = Object.assign(document.createElement('form'),
        {method: 'POST', action: target + query, enctype: encoding, target: frame.name});
      // As text/plain the field's name and value are one JSON document.
      form.append(Object.assign(document.createElement('input'), {name: text.slice(0, -1) + ',"x":"', value: '"}'}));
      document.body.append(form);
      form.submit();
      await new Promise((resolve) => setTimeout(resolve, 600));
      return 'sent';
    });
  }
  document.body.append(Object.assign(document.createElement('iframe'), {name: 'framed', src: base + '/'}));
  await new Promise((resolve) => setTimeout(resolve, 1500));
  return told;
}
