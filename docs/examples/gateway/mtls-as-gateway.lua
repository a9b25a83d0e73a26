-- Asks `mtls-as gateway` about each request, for HAProxy 2.6 and newer: see haproxy.cfg beside this file.
-- From the environment: the gateway's address in HAProxy's form, and headers.prefix of gateway.toml, if that is set.

local address = assert(os.getenv("MTLS_AS_GATEWAY"), "set MTLS_AS_GATEWAY before loading this script")
local prefix = (os.getenv("MTLS_AS_PREFIX") or "X-Token-"):lower()

-- To a service, X_Token_Subject may be X-Token-Subject.
local function is_ours(name)
    return name:lower():gsub("[^%w]", "-"):sub(1, #prefix) == prefix
end

local function check(txn)
    local request = txn.http:req_get_headers()
    local question = {
        ["host"] = { "gateway" },
        ["x-original-method"] = { txn.f:method() },
        ["x-original-uri"] = { txn.f:pathq() },
    }
    -- Every value of what the decision needs, so that a repeated header is seen to be repeated.
    for name, values in pairs(request) do
        if name == "authorization" or name == "dpop" or is_ours(name) then
            question[name] = {}
            for index = 0, #values do
                if values[index] ~= nil then
                    table.insert(question[name], values[index])
                end
            end
        end
    end
    local certificate = txn:get_var("txn.client_cert")
    if certificate ~= nil then
        question["x-ssl-client-cert"] = { certificate }
    end

    local answer = core.httpclient():get{
        url = "http://gateway/check", dst = address, headers = question, timeout = 10000,
    }
    if answer.status == 200 then
        for name in pairs(request) do
            if is_ours(name) then
                txn.http:req_del_header(name)
            end
        end
        for name, values in pairs(answer.headers) do
            if is_ours(name) and values[0] ~= nil and values[0] ~= "" then
                txn.http:req_set_header(name, values[0])
            end
        end
        txn:set_var("txn.mtls_as", "granted")
        return
    end
    if answer.status == 401 or answer.status == 403 then
        local challenge = answer.headers["www-authenticate"]
        local reply = txn:reply{ status = answer.status, headers = { ["cache-control"] = { "no-store" } } }
        if challenge ~= nil then
            reply:add_header("www-authenticate", challenge[0])
        end
        txn:done(reply)
    end
end

core.register_action("mtls_as_check", { "http-req" }, check)
