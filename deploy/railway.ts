// The whole Railway service: `railway config plan --file deploy/railway.ts`, then `apply`; the steps are in railway.md.
import { defineRailway, github, preserve, project, service } from "railway/iac";

// This file owns only what it names: without this, `apply` would delete the project's other services.
export const partial = "sidepulse";

const repository = "your-name/your-repository";
// Each must already be in the dashboard (`railway domain api.example.com --port 8000`): `apply` adds none.
const domains: string[] = [];

const sidecarPort = 8080; // PORT: where Railway's healthcheck asks
const appPort = 8000; // where the domain's traffic goes
// How long an old deployment serves beside the new one, and how long it then has to end: more than sidepulse's
// SIDEPULSE_DRAIN_DELAY (0s) + SIDEPULSE_STOP_TIMEOUT (10s).
const overlapSeconds = 10;
const drainingSeconds = 15;

export default defineRailway(() => {
  const api = service("api", {
    source: github(repository),
    build: { builder: "DOCKERFILE", dockerfilePath: "deploy/Dockerfile" },
    // The quotes matter: otherwise a shell would put in the sidecar's port.
    start: "sidepulse run -- uvicorn main:app --host 0.0.0.0 --port '$PORT'",
    healthcheck: "/health",
    healthcheckTimeout: 300,
    deploy: {
      restartPolicyType: "ON_FAILURE",
      restartPolicyMaxRetries: 10,
      overlapSeconds,
      drainingSeconds,
    },
    domains: domains.map((domain) => ({ domain, port: appPort })),
    env: {
      PORT: String(sidecarPort),
      SIDEPULSE_APP_PORT: String(appPort),
      SIDECAR_PORT: String(sidecarPort), // the app forwards /sidepulse/health there, for monitors without a domain
      RAILWAY_DEPLOYMENT_DRAINING_SECONDS: String(drainingSeconds), // sidepulse reads it, and warns if it is too short
      ENVIRONMENT: "production",
      // Set in Railway, and kept. A variable that is not named here is deleted.
      DATABASE_URL: preserve(),
      JWT_SECRET: preserve(),
      CORS_ORIGINS: preserve(),
      SIDEPULSE_TOKEN: preserve(),
    },
  });

  return project("sidepulse", { resources: [api] });
});
