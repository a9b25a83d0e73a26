# The server in a container: not root, on a read-only root file system, without a shell to enter by.
#   docker build --tag mtls-as .
#   docker run --read-only --volume ./etc:/etc/mtls-as:ro --volume mtls-as:/var/lib/mtls-as --publish 8443:8443 mtls-as
# How to run it: docs/operations.md, deploy/compose.yaml, deploy/kubernetes.
ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY mtls_as mtls_as
RUN python -m venv /opt/mtls-as \
    && /opt/mtls-as/bin/pip install --no-cache-dir --disable-pip-version-check ".[server,postgresql,otel]"

FROM python:${PYTHON}
COPY --from=build /opt/mtls-as /opt/mtls-as
# Where the configuration is, for each command; and nothing is written beside the program, which belongs to root.
ENV PATH=/opt/mtls-as/bin:$PATH \
    MTLS_AS_CONFIG=/etc/mtls-as/config.toml \
    PYTHONDONTWRITEBYTECODE=1
# By its number, since orchestrators cannot look up names (runAsNonRoot). A new volume gets the owner that is here.
RUN install --directory --owner=65532 --group=65532 --mode=0700 /var/lib/mtls-as
USER 65532:65532
WORKDIR /etc/mtls-as
# All that is ever written: an SQLite database and fetched lists; and what the workers of a node tell each other.
VOLUME ["/var/lib/mtls-as", "/tmp"]
EXPOSE 8443
# The answer of /health/ready, from [listeners.admin] of the configuration.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 CMD ["mtls-as", "health"]
ENTRYPOINT ["mtls-as"]
CMD ["serve"]
