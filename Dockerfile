FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# A user with a passwd entry: initdb of the embedded Postgres asks for its name.
RUN useradd --create-home --uid 10001 holdfast \
    && install --directory --owner holdfast --group holdfast --mode 0700 /var/lib/holdfast

WORKDIR /app
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock

# An editable install: alembic.ini and migrations/ are found beside app/.
COPY . .
RUN pip install --no-deps --no-build-isolation -e .

USER holdfast
# DATA_DIR is used only where DATABASE_URL is not set; mount a volume there to keep the data.
ENV HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/var/lib/holdfast
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/healthz', timeout=4)"]
CMD ["holdfast", "serve"]
