SCRIPT="https://api.cloudflare.com/client/v4/accounts/$ACCOUNT_ID/workers/dispatch/namespaces/$NAMESPACE/scripts/$SCRIPT_NAME"
curl "$SCRIPT/tags" -H "Authorization: Bearer $API_TOKEN"
curl -X PUT "$SCRIPT/tags" -H "Authorization: Bearer $API_TOKEN" -H "Content-Type: application/json" -d '["pro-plan", "production", "staging"]'
curl -X PUT "$SCRIPT/tags/customer-123" -H "Authorization: Bearer $API_TOKEN"
curl -X DELETE "$SCRIPT/tags/staging" -H "Authorization: Bearer $API_TOKEN"
curl "${SCRIPT%/*}?tags=production%3Ayes" -H "Authorization: Bearer $API_TOKEN"
curl -X DELETE "${SCRIPT%/*}?tags=customer-123%3Ayes" -H "Authorization: Bearer $API_TOKEN"
