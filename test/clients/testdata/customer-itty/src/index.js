import { AutoRouter } from "itty-router";

const router = AutoRouter();
router.get("/", () => "hello from itty");
router.get("/sum/:a/:b", ({ a, b }) => ({ sum: Number(a) + Number(b) }));

export default { ...router };
