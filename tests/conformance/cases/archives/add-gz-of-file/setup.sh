mkdir -p r/d && echo 1 >r/f && echo 2 >r/d/g && ln -s f r/l && chmod 640 r/f && gzip -nc r/f >a.gz && rm -r r
