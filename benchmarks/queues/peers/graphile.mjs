// graphile-worker, driven as benchmarks/queues/holdfast.py drives ours: `node graphile.mjs WHAT URL COUNT`.
// With the settings of its own published benchmark, but one process, as the others; and it looks for delayed jobs ten
// times a second instead of every two.
import { readFile } from "node:fs/promises";
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

const CONCURRENT_JOBS = 24;
const LOCAL_QUEUE = 500;
const POLL_MS = 100;
const FILL_BATCH = 10_000;
const LOOK_MS = 5;
const LEAD_MS = 2_000;

const ADD_JOBS = `
SELECT graphile_worker.add_jobs(ARRAY(
  SELECT ROW('noop', '{}'::json, NULL, $3::timestamptz + n * $4::interval, NULL, NULL, NULL, NULL)::graphile_worker.job_spec
  FROM generate_series($1::integer, $2::integer) n
))`;
// by the primary key: it is asked with a million rows in the table
const IS_UNSETTLED = "SELECT EXISTS (SELECT FROM graphile_worker._private_jobs WHERE id > $1) AS answer";
const LAST = "SELECT COALESCE(max(id), 0) AS answer FROM graphile_worker._private_jobs";

const [what, url, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const logger = new Logger(() => () => {});
const pool = new pg.Pool({ connectionString: url, max: CONCURRENT_JOBS + 1 });
for (const event of ["connect", "error"]) pool.on(event, () => {});
const preset = {
  worker: {
    concurrentJobs: CONCURRENT_JOBS,
    maxPoolSize: CONCURRENT_JOBS + 1,
    pollInterval: POLL_MS,
    localQueue: { size: LOCAL_QUEUE, refetchDelay: { durationMs: 10 } },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
};

const ask = async (sql, values) => (await pool.query(sql, values)).rows[0].answer;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function prepare() {
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  await utils.migrate();
  const later = new Date(Date.now() + 30 * 86_400_000);
  for (let first = 1; first <= count; first += FILL_BATCH) {
    await pool.query(ADD_JOBS, [first, Math.min(first + FILL_BATCH - 1, count), later, "1 second"]);
  }
  const manifest = new URL("node_modules/graphile-worker/package.json", import.meta.url);
  const { version } = JSON.parse(await readFile(manifest));
  return { version, settings: `concurrentJobs ${CONCURRENT_JOBS}, localQueue ${LOCAL_QUEUE}, completions batched` };
}

async function drain(jobs = count, warmUp = Math.floor(count / 10) || 1) {
  if (warmUp) await drain(warmUp, 0);
  const starts = [];
  const last = await ask(LAST);
  await fill(jobs, new Date());
  const runner = await start(async () => starts.push(performance.now()));
  while (starts.length < jobs || (await ask(IS_UNSETTLED, [last]))) await sleep(LOOK_MS);
  const seconds = (performance.now() - starts[0]) / 1000;
  await runner.stop();
  return { seconds, done: starts.length };
}

async function lateness() {
  await drain(count, 0);
  const late = [];
  const due = Date.now() + LEAD_MS + Math.random() * 1000;
  await fill(count, new Date(due));
  const runner = await start(async () => late.push(Date.now() - due));
  while (late.length < count) await sleep(LOOK_MS);
  await runner.stop();
  return { late_ms: late, done: late.length };
}

async function fill(jobs, due) {
  await pool.query(ADD_JOBS, [1, jobs, due, "0"]);
  await pool.query("VACUUM ANALYZE");
  await pool.query("CHECKPOINT");
}

function start(noop) {
  return run({ preset, pgPool: pool, taskList: { noop }, noHandleSignals: true, logger });
}

console.log(JSON.stringify(await { prepare, drain, lateness }[what]()));
await pool.end();
