// A stranger on our queues: BullMQ as its authors publish it, for Node. It prints one JSON object a line.
//
//   node peer.js work URL QUEUE    takes jobs; fails those whose payload says so
//   node peer.js add URL QUEUE     adds one job as docs/reference/jobs.md says
//   node peer.js look URL QUEUE    what a dashboard asks of a queue

const { Queue, Worker } = require("bullmq");

const [what, url, name] = process.argv.slice(2);
const address = new URL(url);
const connection = {
  host: address.hostname,
  port: Number(address.port),
  password: decodeURIComponent(address.password) || undefined,
  db: Number(address.pathname.slice(1) || 0),
  maxRetriesPerRequest: null,
};
const tell = (told) => process.stdout.write(JSON.stringify(told) + "\n");

async function work() {
  const worker = new Worker(
    name,
    async (job) => {
      tell({ took: job.id, name: job.name, payload: job.data.payload, attempt: job.attemptsMade + 1, priority: job.opts.priority });
      if (job.data.payload.fail) throw new Error("the stranger gave up");
    },
    { connection },
  );
  worker.on("error", (error) => tell({ error: String(error) }));
  await worker.waitUntilReady();
  tell({ ready: true });
  process.stdin.on("end", () => worker.close().then(() => process.exit(0)));
  process.stdin.resume();
}

async function add() {
  const queue = new Queue(name, { connection });
  const job = await queue.add("greet", { outboxId: null, payload: { to: "Ada" } }, { attempts: 5 });
  tell({ added: job.id });
  await queue.close();
}

async function look() {
  const queue = new Queue(name, { connection });
  const jobs = await queue.getJobs(["waiting", "active", "delayed", "prioritized", "completed", "failed"]);
  tell({
    counts: await queue.getJobCounts("waiting", "active", "completed", "failed", "delayed", "prioritized"),
    schedulers: (await queue.getJobSchedulers()).map((one) => ({ key: one.key, name: one.name, every: Number(one.every) })),
    workers: new Set((await queue.getWorkers()).map((one) => one.rawname)).size,
    jobs: await Promise.all(
      jobs.map(async (job) => ({ id: job.id, name: job.name, state: await job.getState(), reason: job.failedReason, data: job.data })),
    ),
  });
  for (const job of jobs) if (process.argv[5] === "retry" && (await job.isFailed())) await job.retry();
  await queue.close();
}

({ work, add, look })[what]();
