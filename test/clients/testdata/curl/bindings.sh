curl -X PUT "https://api.cloudflare.com/client/v4/accounts/$ACCOUNT_ID/workers/dispatch/namespaces/$NAMESPACE/scripts/$SCRIPT_NAME" \
  -H "Authorization: Bearer $API_TOKEN" \
  -F 'metadata={
    "main_module": "worker.mjs",
    "bindings": [{"type": "kv_namespace", "name": "MY_KV", "namespace_id": "'"$KV_NAMESPACE_ID"'"}],
    "tags": ["customer-123", "production", "pro-plan"],
    "compatibility_date": "2024-01-01"
  };type=application/json' \
  -F 'worker.mjs=@worker.mjs;type=application/javascript+module'
