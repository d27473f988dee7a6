// POST /Log/auth by Fastify and pg: one prepared insert a request over a pool of 20 connections, and no second service.
//
//   node server.mjs PORT
//
// The PG* variables name the database.
import Fastify from "fastify";
import pg from "pg";

const pool = new pg.Pool({ min: 20, max: 20 });
const text = `
  INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
  VALUES (1, now(), gen_random_uuid(), now(), $1, $2)`;

const authEvent = {
  type: "object",
  required: ["userKey", "deviceType"],
  properties: {
    userKey: { type: "string", minLength: 1, maxLength: 255 },
    deviceType: { enum: ["Android", "TV", "Watch", "iOS"] },
  },
};
const registered = {
  type: "object",
  properties: { statusCode: { type: "integer" }, message: { type: "string" } },
};

const app = Fastify({ logger: false });

app.post("/Log/auth", { schema: { body: authEvent, response: { 200: registered } } }, async ({ body }) => {
  // A statement with a name is prepared once a connection.
  await pool.query({ name: "insert", text, values: [body.deviceType, body.userKey] });
  return { statusCode: 200, message: "Device registered successfully" };
});

await app.listen({ host: "127.0.0.1", port: Number(process.argv[2]) });
