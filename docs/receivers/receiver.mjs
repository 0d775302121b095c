// Receives kfbind's webhooks with Node alone (18 or later): WEBHOOK_SECRET=whsec_… PORT=9000 node receiver.mjs
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'

const key = Buffer.from(process.env.WEBHOOK_SECRET.replace('whsec_', ''), 'base64')
if (key.length < 24) throw new Error('set WEBHOOK_SECRET to webhooks.secret')
const seen = new Set() // In production a table, in one transaction with what the event changes.

function isGenuine(id, timestamp, signatures, body) {
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= 300)) return false // Five minutes; NaN is never within.
  const expected = Buffer.from('v1,' + createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64'))
  return signatures.split(' ').map((one) => Buffer.from(one)).some((one) => one.length === expected.length && timingSafeEqual(one, expected))
}

createServer(async (request, response) => {
  const chunks = await request.toArray().catch(() => undefined) // Who hangs up half-way must not end this process.
  if (!chunks) return response.destroy()
  const body = Buffer.concat(chunks) // The very bytes: parsed and written again they would differ.
  const [id, timestamp, signatures] = ['id', 'timestamp', 'signature'].map((name) => request.headers[`webhook-${name}`] ?? '')
  if (!isGenuine(id, timestamp, signatures, body)) return response.writeHead(401).end()
  const { type, data } = JSON.parse(body)
  if (!seen.has(id)) console.log(type, data.openid, data.external_userid, id) // Do here what the event means.
  seen.add(id)
  response.writeHead(204).end()
}).listen(Number(process.env.PORT ?? 9000), '127.0.0.1', function () { console.log('listening', this.address().port) })
