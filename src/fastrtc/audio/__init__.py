"""Sound as arrays: conversion, resampling, capture and playout. Imports nothing of ours."""
