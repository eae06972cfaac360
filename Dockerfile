# glibc, not Alpine: google-re2 has wheels for it alone. Any base with Python 3.11 or newer and venv works.
# CONTRIBUTING.md says how to refresh the digest.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${BASE_IMAGE} AS build
# `apprise` adds the receivers of Apprise, `postgres` stores in PostgreSQL, `oidc` lets people
# sign in with OpenID Connect.
ARG REQUIREMENTS=runtime
WORKDIR /src
COPY requirements requirements
# Two environments, because the image needs neither pip nor what builds the package. pip accepts only files with hashes of the locks.
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements/build.txt \
    && python3 -m venv --without-pip /opt/actionwatch \
    && /opt/build/bin/pip --python /opt/actionwatch/bin/python install --no-cache-dir --no-deps --require-hashes \
        -r requirements/${REQUIREMENTS}.txt
COPY pyproject.toml README.md LICENSE ./
COPY actionwatch actionwatch
COPY rules rules
COPY templates templates
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
    && /opt/build/bin/pip --python /opt/actionwatch/bin/python install --no-cache-dir --no-deps --no-index /tmp/wheel/*.whl \
    && /opt/actionwatch/bin/python -m compileall -q /opt/actionwatch/lib

FROM ${BASE_IMAGE}
# The pip of the base image goes too, with the copy that venv installs: nothing can be added to a running container.
RUN groupadd --gid 10001 actionwatch \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/actionwatch --create-home actionwatch \
    && find /usr -depth \( -name pip -o -name 'pip[-0-9]*' -o -name ensurepip \) -exec rm -r {} +
COPY --from=build /opt/actionwatch /opt/actionwatch
ENV PATH=/opt/actionwatch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ACTIONWATCH_CONFIG=/etc/actionwatch/actionwatch.yaml
USER 10001:10001
WORKDIR /var/lib/actionwatch
# The only folder written to: run with --read-only and a volume here.
VOLUME /var/lib/actionwatch
EXPOSE 8080
STOPSIGNAL SIGTERM
# Without the proxies of the environment: a proxy cannot reach the loopback address of the container.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["actionwatch"]
CMD ["run"]
