// A receiver that leaves the check to the public package of npm, and prints what passed it.
import { createServer } from 'node:http'

import { Webhook } from 'standardwebhooks'

const webhook = new Webhook(process.env.WEBHOOK_SECRET)

createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray())
  try {
    const { type, data } = webhook.verify(body, request.headers)
    console.log(type, data.openid, data.external_userid, request.headers['webhook-id'])
    response.writeHead(204).end()
  } catch (error) {
    console.error(String(error))
    response.writeHead(401).end()
  }
}).listen(Number(process.env.PORT), '127.0.0.1', function () {
  console.log('listening', this.address().port)
})
