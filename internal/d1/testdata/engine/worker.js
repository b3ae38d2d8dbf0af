// Runs the operations it is sent on both databases and says what each answered, in a form that JSON keeps apart:
// undefined and errors.
function plain(v) {
  if (v === undefined) return { undefined: true };
  return v;
}

const value = (v) => (v && v.bytes ? new Uint8Array(v.bytes) : v && v.buffer ? new Uint8Array(v.buffer).buffer : v);
const statement = (db, { sql, params }) => (params ? db.prepare(sql).bind(...params.map(value)) : db.prepare(sql));

async function run(db, step) {
  switch (step.op) {
    case "all":
      return statement(db, step).all();
    case "run":
      return statement(db, step).run();
    case "first":
      return statement(db, step).first();
    case "column":
      return statement(db, step).first(step.column);
    case "raw":
      return statement(db, step).raw();
    case "names":
      return statement(db, step).raw({ columnNames: true });
    case "batch":
      return db.batch(step.batch.map((s) => statement(db, s)));
    case "exec":
      return db.exec(step.sql);
    case "session": {
      const session = db.withSession(step.constraint);
      const results = await session.batch(step.batch.map((s) => statement(session, s)));
      return { results, bookmark: typeof session.getBookmark() };
    }
    case "dump":
      return db.dump();
  }
  throw new Error("no such operation: " + step.op);
}

const attempt = async (db, step) => {
  try {
    return { value: plain(await run(db, step)) };
  } catch (e) {
    return { error: String(e), cause: e.cause ? String(e.cause) : "" };
  }
};

export default {
  async fetch(request, env) {
    const answers = [];
    for (const step of await request.json()) answers.push([await attempt(env.OURS, step), await attempt(env.WORKERD, step)]);
    return Response.json(answers);
  },
};
