import { Hono } from "hono";

type Bindings = { GREETING: string };

const app = new Hono<{ Bindings: Bindings }>();
app.get("/", (c) => c.text(`${c.env.GREETING} from hono`));
app.get("/users/:id", (c) => c.json({ id: c.req.param("id"), agent: c.req.header("x-agent") ?? null }));
app.post("/echo", async (c) => c.text(await c.req.text(), 201));
app.get("/throws", () => {
  throw new Error("a customer's mistake");
});
app.onError((err) => {
  throw err;
});

export default app;
