"""The recipe people copy: a chat backend of FastAPI and Redis.

The conversation is one JSON string under conversation:{session_id}, read, appended and written back whole for every
turn. Written with care (shared clients, keep-alive, as few round trips as the recipe allows), so that what the
benchmark compares is the recipe and not its author. What the recipe does not do, it does not do here either: two
requests on one session overwrite each other, and what Redis has not yet saved is lost with it.
"""

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager

import httpx
import redis.asyncio as redis
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
LLM_URL = os.environ.get("LLM_URL", "http://127.0.0.1:8000/v1")
LLM_MODEL = os.environ.get("LLM_MODEL", "demo")
LLM_CONCURRENCY = int(os.environ.get("LLM_CONCURRENCY", "10"))
HISTORY_MESSAGES = int(os.environ.get("HISTORY_MESSAGES", "40"))
RATE_LIMIT = int(os.environ.get("RATE_LIMIT", "10"))
RATE_WINDOW_S = 60
CONVERSATION_TTL_S = 24 * 60 * 60


class ChatRequest(BaseModel):
    session_id: str = Field(min_length=1, max_length=200)
    message: str = Field(min_length=1, max_length=32768)


class ChatResponse(BaseModel):
    session_id: str
    response: str


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.redis = redis.from_url(REDIS_URL, decode_responses=True, max_connections=1024)
    app.state.llm = httpx.AsyncClient(
        timeout=httpx.Timeout(120.0, connect=5.0),
        limits=httpx.Limits(max_connections=1024, max_keepalive_connections=1024, keepalive_expiry=60.0),
    )
    app.state.semaphore = asyncio.Semaphore(LLM_CONCURRENCY)
    yield
    await app.state.llm.aclose()
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan)


async def check_rate_limit(store: redis.Redis, address: str) -> None:
    """Fixed window: one counter per address and minute."""
    key = f"rate:{address}:{int(time.time()) // RATE_WINDOW_S}"
    count = await store.incr(key)
    if count == 1:
        await store.expire(key, RATE_WINDOW_S)
    if count > RATE_LIMIT:
        raise HTTPException(status_code=429, detail="rate limit exceeded")


async def ask_model(request: Request, messages: list[dict]) -> str:
    async with request.app.state.semaphore:
        answer = await request.app.state.llm.post(
            f"{LLM_URL}/chat/completions", json={"model": LLM_MODEL, "messages": messages}
        )
    if answer.status_code != 200:
        raise HTTPException(status_code=502, detail="model failed")
    return answer.json()["choices"][0]["message"]["content"]


@app.post("/chat")
async def chat(body: ChatRequest, request: Request) -> ChatResponse:
    store = request.app.state.redis
    await check_rate_limit(store, request.client.host)

    key = f"conversation:{body.session_id}"
    stored = await store.get(key)
    history = json.loads(stored) if stored else []

    question = {"role": "user", "content": body.message}
    context = history[-HISTORY_MESSAGES:] if HISTORY_MESSAGES else []
    response = await ask_model(request, [*context, question])

    history += [question, {"role": "assistant", "content": response}]
    await store.setex(key, CONVERSATION_TTL_S, json.dumps(history))
    return ChatResponse(session_id=body.session_id, response=response)


@app.get("/health")
async def health() -> dict:
    return {"status": "ok"}
