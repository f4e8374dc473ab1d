// Prints what a railway.ts, compiled to JavaScript, describes: the project, the SDK's own verdict, the partial's name.
import { createRailwayContext, project, RAILWAY_GRAPH_VERSION, validateGraph } from "railway/iac";

const module = await import(process.argv[2]);
const { name, resources } = await module.default(createRailwayContext({ environment: "production" }), project);
const errors = validateGraph({
  version: RAILWAY_GRAPH_VERSION,
  project: { name },
  environments: [{ name: "production" }],
  resources,
  edges: [],
});
// Some CLIs hand over an empty context, and no second argument.
const again = await module.default({});
console.log(JSON.stringify({ partial: module.partial, errors, resources, again: again.resources }));
