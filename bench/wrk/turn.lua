-- One turn a request, for wrk.
--
-- Every thread speaks for its own share of the sessions, in shuffled order, round and round: no two requests in flight
-- meet on one session, and neither the pages of the database nor the keys of Redis are met in the order in which they
-- were filled. All requests are made beforehand, so that one costs a table look-up.
--
-- Environment: BENCH_SESSION_PREFIX, BENCH_SESSIONS, BENCH_THREADS, BENCH_MESSAGE_JSON (the text as a JSON string),
-- BENCH_PATH (/chat or /jobs), BENCH_API_KEY (optional; several, with commas between, share the sessions out),
-- BENCH_DELAY_MS (optional: mean pause of a connection between an answer and its next request), BENCH_WRK_RESULT (file
-- for the numbers).

local prefix = os.getenv("BENCH_SESSION_PREFIX")
local sessions = tonumber(os.getenv("BENCH_SESSIONS"))
local threads = tonumber(os.getenv("BENCH_THREADS"))
local message = os.getenv("BENCH_MESSAGE_JSON")
local path = os.getenv("BENCH_PATH")
local keys = {}
for key in string.gmatch(os.getenv("BENCH_API_KEY") or "", "[^,]+") do
    keys[#keys + 1] = key
end

local thread_count = 0

function setup(thread)
    thread:set("number", thread_count)
    thread_count = thread_count + 1
end

local requests = {}
local at = 0

local function shuffle(list)
    for i = #list, 2, -1 do
        local j = math.random(i)
        list[i], list[j] = list[j], list[i]
    end
end

function init()
    local headers = { ["Content-Type"] = "application/json" }
    for i = number, sessions - 1, threads do
        if #keys > 0 then
            headers["Authorization"] = "Bearer " .. keys[i % #keys + 1]
        end
        local body = string.format('{"session_id":"%s%d","message":%s}', prefix, i, message)
        requests[#requests + 1] = wrk.format("POST", path, headers, body)
    end
    math.randomseed(os.time() + number)
    shuffle(requests)
end

function request()
    at = at % #requests + 1
    return requests[at]
end

local delay_ms = tonumber(os.getenv("BENCH_DELAY_MS") or "0")
if delay_ms > 0 then
    function delay()
        return math.random(0, 2 * delay_ms)
    end
end

function done(summary, latency)
    local errors = summary.errors
    local file = assert(io.open(os.getenv("BENCH_WRK_RESULT"), "w"))
    file:write(string.format(
        '{"requests":%d,"duration_us":%d,"non_200":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,'
            .. '"p50_us":%d,"p90_us":%d,"p99_us":%d,"max_us":%d,"mean_us":%.0f}\n',
        summary.requests, summary.duration, errors.status, errors.connect, errors.read, errors.write, errors.timeout,
        latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max, latency.mean))
    file:close()
end
