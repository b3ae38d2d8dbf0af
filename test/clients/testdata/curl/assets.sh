# The session: which of the files are missing?
curl -X POST "https://api.cloudflare.com/client/v4/accounts/$ACCOUNT_ID/workers/dispatch/namespaces/$NAMESPACE/scripts/$SCRIPT_NAME/assets-upload-session" \
  -H "Authorization: Bearer $API_TOKEN" -H "Content-Type: application/json" \
  --data '{"manifest": {"/index.html": {"hash": "0123456789abcdef0123456789abcdef0", "size": 1234}}}'

# The upload of one.
curl -X POST "https://api.cloudflare.com/client/v4/accounts/$ACCOUNT_ID/workers/assets/upload?base64=true" \
  -H "Authorization: Bearer $UPLOAD_JWT" -F '0123456789abcdef0123456789abcdef0=<BASE64_CONTENT>'

# The deploy. The module is cut off at its semicolon: curl wants it from a file.
curl -X PUT "https://api.cloudflare.com/client/v4/accounts/$ACCOUNT_ID/workers/dispatch/namespaces/$NAMESPACE/scripts/$SCRIPT_NAME" \
  -H "Authorization: Bearer $API_TOKEN" \
  -F 'metadata={"main_module": "index.js", "assets": {"jwt": "<COMPLETION_TOKEN>"}, "bindings": [{"type": "assets", "name": "ASSETS"}]};type=application/json' \
  -F 'index.js=export default { async fetch(request, env) { return env.ASSETS.fetch(request); } };type=application/javascript+module'
