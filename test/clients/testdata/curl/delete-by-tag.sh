curl -X DELETE "https://api.cloudflare.com/client/v4/accounts/$ACCOUNT_ID/workers/dispatch/namespaces/$NAMESPACE/scripts?tags=customer-123%3Ayes" \
  -H "Authorization: Bearer $API_TOKEN"
