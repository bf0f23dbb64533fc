# The program in a container: `docker build --target cpu .` or `--target gpu`; scripts/run_docker.sh does it by itself.
# BASE must have Python 3.11 to 3.13 with venv as python3.
ARG BASE=python:3.12-slim

FROM ${BASE} AS packages
RUN python3 -m venv /opt/venv
COPY requirements.lock /opt/
RUN /opt/venv/bin/pip --disable-pip-version-check --no-cache-dir install --require-hashes -r /opt/requirements.lock

FROM ${BASE} AS program
COPY . /opt/secateur
# The container runs as whoever called it; nothing in it is written.
RUN useradd --create-home --uid 1000 secateur && chmod -R a+rX /opt/secateur
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER secateur
ENTRYPOINT ["python", "-m", "secateur.utils.launch"]

FROM program AS cpu
COPY --from=packages /opt/venv /opt/venv

# Last, because an engine without BuildKit builds all stages before the one that is asked for.
FROM packages AS packages-gpu
COPY requirements.gpu.lock /opt/
RUN /opt/venv/bin/pip --disable-pip-version-check --no-cache-dir install --require-hashes -r /opt/requirements.gpu.lock

FROM program AS gpu
COPY --from=packages-gpu /opt/venv /opt/venv
