# The program in a container: `docker build --target cpu .` or `--target gpu`; scripts/run_docker.sh does it by itself.
# BASE must have Python 3.11 to 3.13 with venv as python3.
ARG BASE=python:3.12-slim

FROM ${BASE} AS packages
RUN python3 -m venv /opt/venv
COPY requirements.lock /opt/
RUN /opt/venv/bin/pip --disable-pip-version-check --no-cache-dir install --require-hashes -r /opt/requirements.lock

FROM ${BASE} AS program
RUN useradd --create-home --uid 1000 secateur
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENTRYPOINT ["python", "-m", "secateur.utils.launch"]

# The sources come last, so that a change of them makes one small layer anew. The container runs as whoever called it, or
# as 1000 (a number, as Kubernetes' runAsNonRoot asks); nothing in it is written.
FROM program AS cpu
COPY --from=packages /opt/venv /opt/venv
COPY . /opt/secateur
RUN chmod -R a+rX /opt/secateur
USER 1000

# After the CPU's, because an engine without BuildKit builds all stages before the one that is asked for.
FROM packages AS packages-gpu
COPY requirements.gpu.lock /opt/
RUN /opt/venv/bin/pip --disable-pip-version-check --no-cache-dir install --require-hashes -r /opt/requirements.gpu.lock

FROM program AS gpu
COPY --from=packages-gpu /opt/venv /opt/venv
COPY . /opt/secateur
RUN chmod -R a+rX /opt/secateur
USER 1000
