# The page for a hospital: no network at run time, no root, nothing written but temporary files in memory.
#
#   docker build -t bone-age .
#   docker run --rm --read-only --tmpfs /tmp --network bridge -p 127.0.0.1:7860:7860 bone-age
#
# The networks use every core that they see. With `--cpus N` add `-e OMP_NUM_THREADS=N`: that limit they do not see.
# Behind a proxy under a path: add `-e GRADIO_ROOT_PATH=/bone-age` (the proxy strips the path).
# `python -m benchmarks.container` performs these steps in a clean folder, where there is no docker, and measures them.
FROM python:3.11-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1
ENV PYTHONUNBUFFERED=1
ENV GRADIO_ANALYTICS_ENABLED=False
ENV HF_HUB_OFFLINE=1
ENV HOME=/tmp
ENV TMPDIR=/tmp

WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -r requirements.txt
COPY LICENSE README.md app.py ./
COPY baa_core ./baa_core
COPY page ./page
COPY weights ./weights

USER 10001:10001
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/baa-health', timeout=4)"]
ENTRYPOINT ["python", "app.py", "--host", "0.0.0.0", "--port", "7860", "--no-browser"]
