// Open-loop load for tests/faults/overload.py: requests begin at a given rate, whether or not earlier ones were answered.
//
//   k6 run -e URL=http://127.0.0.1:8000/Log/auth -e BODY='{"userKey":"IDENTITY","deviceType":"iOS"}' -e STATUS=200 \
//     -e SECONDS=60 -e RATE=5000 -e OUT=step.json load/overload.js
//
// BODY is an event, in which IDENTITY becomes another text each time; STATUS says that it was recorded.
// With CLIENTS instead of RATE the loop is closed: each of these clients waits for its answer (the capacity).
import http from "k6/http";
import { Counter, Trend } from "k6/metrics";

const seconds = `${__ENV.SECONDS}s`;
const [before, after] = __ENV.BODY.split("IDENTITY");
const recorded = Number(__ENV.STATUS);
const accepted = new Trend("accepted_ms", true);
const refused = new Trend("refused_ms", true);
// Neither recorded nor refused as promised: another status, no Retry-After, or no answer at all.
const improper = new Counter("improper");

export const options = {
  discardResponseBodies: true,
  // The metrics are not read by tag, and tagging every sample takes time in which requests should begin.
  systemTags: [],
  summaryTrendStats: ["count", "med", "p(99)", "max"],
  scenarios: {
    load: __ENV.RATE
      ? {
          executor: "constant-arrival-rate",
          rate: Number(__ENV.RATE),
          timeUnit: "1s",
          duration: seconds,
          // All at once at the start: making them under way would hold back the very requests that make the overload.
          preAllocatedVUs: Number(__ENV.CLIENTS_MAX || 1000),
          gracefulStop: "10s",
        }
      : { executor: "constant-vus", vus: Number(__ENV.CLIENTS), duration: seconds, gracefulStop: "10s" },
  },
};

export default function () {
  const answer = http.post(__ENV.URL, `${before}k6-${__VU}-${__ITER}${after}`, {
    headers: { "Content-Type": "application/json" },
    timeout: "10s",
  });
  if (answer.status === recorded) {
    accepted.add(answer.timings.duration);
  } else if ((answer.status === 503 || answer.status === 429) && answer.headers["Retry-After"]) {
    refused.add(answer.timings.duration);
  } else {
    improper.add(1, { status: String(answer.status) });
  }
}

export function handleSummary(data) {
  return { [__ENV.OUT]: JSON.stringify(data.metrics) };
}
