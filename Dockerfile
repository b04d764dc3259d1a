# A small image for --serve on a CPU.
#
#   docker build -t darkroom .
#   docker run --rm -p 8000:8000 -v "$PWD/runs:/runs:ro" darkroom /runs/classify/RUN
#
# The address with its token is printed; give --token YOURS to choose it. Exported files need their runtime:
# docker build --build-arg RUNTIMES="onnxruntime openvino" ...
FROM python:3.12-slim

ARG RUNTIMES=""
ENV PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

# torch without CUDA is a tenth of the size; it comes from its own index, all else from the usual one.
WORKDIR /app
COPY requirements.txt .
RUN pip install --index-url https://download.pytorch.org/whl/cpu torch torchvision \
 && pip install -r requirements.txt fastapi uvicorn python-multipart ${RUNTIMES}

COPY main.py config.py ./
COPY applications applications
COPY criterions criterions
COPY dataloader dataloader
COPY models models
COPY optim optim
COPY utils utils

# Files of strangers are decoded here: not as root.
RUN useradd --create-home darkroom
USER darkroom
WORKDIR /home/darkroom

EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=3)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "/app/main.py", "--host", "0.0.0.0", "--port", "8000", "--serve"]
