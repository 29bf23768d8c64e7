# The images of a fleet. Each target is one part; a plain `docker build .` makes the last, the worker:
#   hansard     workers, and demo-llm          (docker-compose.yml: worker1.., demo-llm)
#   admin       ... with psql, for migrations  (migrate, admin)
#   pgbouncer   Debian's, with deploy/pgbouncer/pgbouncer.ini
#   nginx       Debian's, with deploy/nginx/nginx.conf
# Everything is Debian 12's, because that is what the tests run with. For builds that never change, name a dated tag or a
# digest: --build-arg DEBIAN=bookworm-20250811-slim.
#
# Health is asked by bash's /dev/tcp (deploy/compose/healthy.sh): bash is in the image anyway, and a curl would be one
# more program to update, and a help to whoever breaks in.

ARG DEBIAN=bookworm-slim

FROM debian:${DEBIAN} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        gcc libc6-dev make pkg-config \
        libpq-dev libmicrohttpd-dev libcurl4-openssl-dev libjansson-dev libssl-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Makefile ./
COPY scripts/embed-sql.sh scripts/
COPY sql sql
COPY src src
RUN make -j"$(nproc)" all

# A user of a fixed number, so that volumes and tmpfs can be given to it.
FROM debian:${DEBIAN} AS base
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin hansard
COPY deploy/compose/healthy.sh /usr/local/bin/healthy

FROM base AS pgbouncer
RUN apt-get update \
    && apt-get install -y --no-install-recommends pgbouncer \
    && rm -rf /var/lib/apt/lists/*
COPY deploy/pgbouncer/pgbouncer.ini /etc/hansard/pgbouncer.ini
COPY deploy/compose/pgbouncer.sh /usr/local/bin/start-pgbouncer
USER hansard
# Open transactions end first; SIGTERM would cut them off.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=10s --timeout=3s --retries=3 CMD ["healthy", "pgbouncer", "6432"]
ENTRYPOINT ["start-pgbouncer"]
CMD ["/etc/hansard/local/pgbouncer.ini"]

# What differs from machine to machine is mounted as a folder, local/: a file that is mounted alone stays the old one
# when an editor replaces it.
FROM base AS nginx
RUN apt-get update \
    && apt-get install -y --no-install-recommends nginx \
    && rm -rf /var/lib/apt/lists/* \
    && mkdir -p /etc/hansard \
    && ln -s local/hansard-workers.conf local/hansard-listen.conf local/hansard-paths.conf /etc/hansard/
COPY deploy/nginx/nginx.conf /etc/hansard/nginx.conf
USER hansard
# Requests end first.
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=10s --timeout=3s --retries=3 CMD ["healthy", "http", "8080", "/livez"]
ENTRYPOINT ["nginx", "-e", "stderr", "-c", "/etc/hansard/nginx.conf", "-g", "daemon off; pid /run/nginx/nginx.pid;"]

# Libraries only, no headers and no compiler.
FROM base AS worker
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates libpq5 libmicrohttpd12 libcurl4 libjansson4 libssl3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /build/build/hansard /build/build/demo-llm /usr/local/bin/
# Within the container every address: what is published is decided outside.
ENV HANSARD_LISTEN=*:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["healthy", "http", "8080", "/readyz", "200"]
ENTRYPOINT ["hansard"]
CMD ["serve"]

FROM worker AS admin
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-client \
    && rm -rf /var/lib/apt/lists/*
COPY deploy/compose/migrate.sh /usr/local/bin/migrate-fleet
USER hansard

FROM worker AS hansard
USER hansard
