# The image of hanaper: docs/docker.md tells how to use it.
#
# A tag can move. To build from the very same bytes each time, name the base image by its digest:
#   docker build --build-arg PYTHON_IMAGE=python:3.13-slim-trixie@sha256:<digest> .
# The digest is what `docker buildx imagetools inspect python:3.13-slim-trixie` prints first.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# Two environments, without pip in them: one is the product, the other builds it and stays behind.
RUN ["python", "-m", "venv", "--without-pip", "/opt/hanaper"]
RUN ["python", "-m", "venv", "--without-pip", "/opt/build"]

# The lock file has parts, one after the other: runtime, build, and what is not needed here. What both of them need stands
# in the first only, so the tools are installed from both.
COPY requirements.lock ./
RUN ["sed", "-n", "-e", "/^# --- build ---$/q", "-e", "w runtime.lock", "requirements.lock"]
RUN ["sed", "-n", "-e", "/^# --- development ---$/q", "-e", "w build.lock", "requirements.lock"]
RUN ["python", "-m", "pip", "--python", "/opt/hanaper", "install", "--no-compile", \
     "--require-hashes", "--requirement", "runtime.lock"]
RUN ["python", "-m", "pip", "--python", "/opt/build", "install", "--require-hashes", \
     "--requirement", "build.lock"]

# From here on nothing is fetched.
COPY pyproject.toml README.md LICENSE ./
COPY alembic ./alembic
COPY src ./src
RUN ["/opt/build/bin/python", "-m", "hatchling", "build", "--target", "wheel", "--directory", "dist"]
RUN ["python", "-m", "pip", "--python", "/opt/hanaper", "install", "--no-compile", \
     "--no-index", "--no-deps", "--find-links", "dist", "hanaper"]
# By what the modules are, not by their times, which not every builder keeps.
RUN ["python", "-B", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/hanaper/lib"]


FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="hanaper" \
      org.opencontainers.image.description="A self-hosted license server that signs every answer" \
      org.opencontainers.image.licenses="Apache-2.0"

# Away goes what the base image has to install with, and the rights that some programs give to whoever starts them.
RUN ["python", "-B", "-m", "pip", "uninstall", "--yes", "--root-user-action", "ignore", "pip"]
RUN ["python", "-B", "-c", "import ensurepip, shutil; shutil.rmtree(ensurepip.__path__[0])"]
RUN ["find", "/", "-xdev", "-type", "f", "-perm", "/6000", "-exec", "chmod", "a-s", "{}", "+"]
# The base image leaves its modules uncompiled. The user below cannot do it: each command and health check would do it anew.
RUN ["python", "-B", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/usr/local/lib"]

RUN ["groupadd", "--gid", "10001", "hanaper"]
RUN ["useradd", "--uid", "10001", "--gid", "10001", "--no-log-init", "--no-create-home", \
     "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", "hanaper"]
RUN ["install", "--directory", "--owner=10001", "--group=10001", "--mode=0700", "/data"]

# Owned by root: the server cannot change its own program. Only /data and /tmp are ever written.
COPY --from=builder /opt/hanaper /opt/hanaper

ENV PATH=/opt/hanaper/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HANAPER_DATA_DIR=/data \
    HANAPER_HOST=0.0.0.0 \
    HANAPER_PORT=8000

USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8000
STOPSIGNAL SIGTERM

# /healthz, not /readyz: what is unhealthy gets restarted, and a restart cures no database. Past any HTTP proxy.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-I", "-S", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open(f\"http://127.0.0.1:{os.environ['HANAPER_PORT']}/healthz\", timeout=4)"]

# No migration runs by itself: `hanaper init` makes a new installation, `hanaper db upgrade` brings an old one forward.
ENTRYPOINT ["hanaper"]
CMD ["serve"]
