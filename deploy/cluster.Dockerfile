# The image of deploy/Dockerfile with Ray, for deploy/kuberay.yaml and deploy/compose.cluster.yaml.
# From the clone:
#   docker build -f deploy/Dockerfile -t voice .
#   docker build -f deploy/cluster.Dockerfile -t voice-cluster .
# Ray's own image is not needed as a base: its wheels are all of it. Every node of a cluster has to
# have the same versions of Python and of Ray, so give all of them this image.
FROM voice

USER root
# KubeRay's probes are lines of bash with wget in them.
RUN apt-get update && apt-get install -y --no-install-recommends bash wget \
    && rm -rf /var/lib/apt/lists/*

COPY pyproject.toml README.md LICENSE fastrtc/
COPY src fastrtc/src
RUN pip install --no-cache-dir "./fastrtc[cluster,stt,tts,metrics]" && rm -r fastrtc

# Replicas import app.py and cluster_app.py by name.
COPY deploy/cluster_app.py .
ENV PYTHONPATH=/srv RAY_USAGE_STATS_ENABLED=0

USER app
CMD ["fastrtc", "serve", "app.py:stream", "--host", "0.0.0.0", "--replicas", "2"]
