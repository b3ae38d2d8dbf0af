curl -X PUT "https://api.cloudflare.com/client/v4/accounts/$ACCOUNT_ID/workers/dispatch/namespaces/$NAMESPACE/scripts/$SCRIPT_NAME" \
  -H "Authorization: Bearer $API_TOKEN" \
  -F 'metadata={"bindings": [{"type": "plain_text", "name": "ADDED", "text": "by metadata alone"}], "keep_bindings": ["kv_namespace", "d1"]}'
