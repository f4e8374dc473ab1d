// What Uptime Kuma 2.5.3 makes of an answer, after its own source: server/model/monitor.js (type "json-query") and
// server/util-server.js (checkStatusCode), src/util.ts (evaluateJsonQuery). Kuma itself is not on the npm registry in
// this version. Arguments: status, body, expression, condition, expected value, accepted codes with commas.
import jsonata from "jsonata";

const [status, body, path, operator, expected, codes] = process.argv.slice(2);

function accepted(code) {
  return codes.split(",").some((range) => {
    const [first, last] = range.split("-").map(Number);
    return last === undefined ? code === first : first <= code && code <= last;
  });
}

async function beat() {
  // axios throws before the body is looked at.
  if (!accepted(Number(status))) throw new Error(`Request failed with status code ${status}`);
  const response = await jsonata(path).evaluate(JSON.parse(body));
  if (response === null || response === undefined) throw new Error("Empty or undefined response.");
  const comparison = { "==": "$.value = $.expected", "!=": "$.value != $.expected" }[operator];
  const passes = await jsonata(comparison).evaluate({ value: response.toString(), expected });
  if (passes) return `JSON query passes (comparing ${response} ${operator} ${expected})`;
  throw new Error(`JSON query does not pass (comparing ${response} ${operator} ${expected})`);
}

console.log(JSON.stringify(await beat().then((message) => ["UP", message], (error) => ["DOWN", error.message])));
