package api

import "errors"

var errTodo = errors.New("to do")

func (a *API) putScript(q *request) (any, error)           { return nil, errTodo }
func (a *API) deleteScript(q *request) (any, error)        { return nil, errTodo }
func (a *API) deleteScripts(q *request) (any, error)       { return nil, errTodo }
func (a *API) putContent(q *request) (any, error)          { return nil, errTodo }
func (a *API) patchSettings(q *request) (any, error)       { return nil, errTodo }
func (a *API) patchScriptSettings(q *request) (any, error) { return nil, errTodo }
func (a *API) putSecret(q *request) (any, error)           { return nil, errTodo }
func (a *API) deleteSecret(q *request) (any, error)        { return nil, errTodo }
func (a *API) patchSecrets(q *request) (any, error)        { return nil, errTodo }
func (a *API) postVersion(q *request) (any, error)         { return nil, errTodo }
func (a *API) postDeployment(q *request) (any, error)      { return nil, errTodo }
