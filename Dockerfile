# syntax=docker/dockerfile:1
# glibc, not Alpine: google-re2 has wheels for it alone.
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY actionwatch actionwatch
COPY rules rules
COPY templates templates
RUN python -m venv /opt/actionwatch \
    && /opt/actionwatch/bin/pip install --no-cache-dir -c constraints.txt . \
    && /opt/actionwatch/bin/python -m compileall -q /opt/actionwatch/lib

FROM ${BASE_IMAGE}
RUN useradd --system --uid 10001 --home-dir /var/lib/actionwatch --create-home actionwatch
COPY --from=build /opt/actionwatch /opt/actionwatch
ENV PATH=/opt/actionwatch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ACTIONWATCH_CONFIG=/etc/actionwatch/actionwatch.yaml
USER 10001
WORKDIR /var/lib/actionwatch
# The only folder written to: run with --read-only and a volume here.
VOLUME /var/lib/actionwatch
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["actionwatch"]
CMD ["run"]
