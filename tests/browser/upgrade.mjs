// Passes WebSockets on, for servers that stand between a page and encke.

import net from 'node:net';

/**
 * Passes a request with an upgrade on, and from then on bytes in both directions.
 * @param {number} port encke's
 */
export function tunnel(port, path, request, socket, head) {
  const onward = net.connect(port, '127.0.0.1');
  const fields = [];
  for (let at = 0; at < request.rawHeaders.length; at += 2) fields.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}\r\n`);
  onward.write(`${request.method} ${path} HTTP/1.1\r\n${fields.join('')}\r\n`);
  onward.write(head);
  socket.pipe(onward).pipe(socket);
  for (const [one, other] of [[socket, onward], [onward, socket]]) {
    one.on('error', () => other.destroy());
    one.on('close', () => other.destroy());
  }
}
