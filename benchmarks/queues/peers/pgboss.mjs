// pg-boss, driven as benchmarks/queues/holdfast.py drives ours: `node pgboss.mjs WHAT URL COUNT`.
// Batches and workers as many as made it fastest here, and it looks as often as it lets itself be told.
import { readFile } from "node:fs/promises";
import pg from "pg";
import { PgBoss } from "pg-boss";

const BATCH = 1_000;
const WORKERS = 4;
const POLL_SECONDS = 0.5;
const LOOK_MS = 5;
const LEAD_MS = 2_000;
const IS_UNSETTLED = "SELECT EXISTS (SELECT FROM pgboss.job WHERE name = 'noop' AND state < 'completed') AS answer";

const [what, url, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const client = new pg.Client({ connectionString: url });
await client.connect();
const boss = new PgBoss({ connectionString: url, schedule: false });
boss.on("error", console.error);
await boss.start();

const ask = async (sql) => (await client.query(sql)).rows[0].answer;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function prepare() {
  await boss.createQueue("noop");
  const manifest = new URL("node_modules/pg-boss/package.json", import.meta.url);
  const { version } = JSON.parse(await readFile(manifest));
  return { version, settings: `batchSize ${BATCH}, localConcurrency ${WORKERS}, burst, looks every ${POLL_SECONDS} s` };
}

async function drain(jobs = count, warmUp = Math.floor(count / 10) || 1) {
  if (warmUp) await drain(warmUp, 0);
  const starts = [];
  await fill(jobs, {});
  await start(() => starts.push(performance.now()));
  while (starts.length < jobs || (await ask(IS_UNSETTLED))) await sleep(LOOK_MS);
  const seconds = (performance.now() - starts[0]) / 1000;
  await boss.offWork("noop");
  return { seconds, done: starts.length };
}

async function lateness() {
  await drain(count, 0);
  const late = [];
  const due = Date.now() + LEAD_MS + Math.random() * 1000;
  await fill(count, { startAfter: new Date(due) });
  await start(() => late.push(Date.now() - due));
  while (late.length < count) await sleep(LOOK_MS);
  await boss.offWork("noop");
  return { late_ms: late, done: late.length };
}

async function fill(jobs, options) {
  await boss.insert("noop", Array.from({ length: jobs }, () => ({ ...options })));
  await client.query("VACUUM ANALYZE");
  await client.query("CHECKPOINT");
}

async function start(noop) {
  const options = {
    batchSize: BATCH,
    localConcurrency: WORKERS,
    pollingIntervalSeconds: POLL_SECONDS,
    burstWhenBatchFull: true,
  };
  await boss.work("noop", options, async (jobs) => jobs.forEach(noop));
}

console.log(JSON.stringify(await { prepare, drain, lateness }[what]()));
await boss.stop({ graceful: false });
await client.end();
